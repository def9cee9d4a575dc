"""The catalogue of encoders. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

ENCODERS = Catalogue(
    "encoder",
    "polymodal.encoders.base:Encoder",
    {
        "image_hog": Entry(
            "polymodal.encoders.image_hog:ImageHOG",
            "Histograms of gradients, colour and texture; nothing is trained",
            "Dalal & Triggs 2005; Ojala, Pietikäinen & Mäenpää 2002",
        ),
        "image_resnet": Entry(
            "polymodal.encoders.image_resnet:ImageResNet", "Small residual network", "He et al. 2016"
        ),
        "image_vit": Entry(
            "polymodal.encoders.image_vit:ImageViT", "Small vision Transformer", "Dosovitskiy et al. 2021"
        ),
        "audio_cnn": Entry(
            "polymodal.encoders.audio_cnn:AudioCNN", "Convolutions on log-mel spectrograms", "Hershey et al. 2017"
        ),
        "audio_mfcc": Entry(
            "polymodal.encoders.audio_mfcc:AudioMFCC",
            "Statistics of cepstra, spectral shape and pitch; nothing is trained",
            "Davis & Mermelstein 1980; Jiang et al. 2002",
        ),
        "audio_transformer": Entry(
            "polymodal.encoders.audio_transformer:AudioTransformer",
            "Transformer on spectrogram patches",
            "Gong, Chung & Glass 2021",
        ),
        "audio_wavenet": Entry(
            "polymodal.encoders.audio_wavenet:AudioWaveNet",
            "Dilated causal convolutions on the raw wave",
            "van den Oord et al. 2016",
        ),
        "video_cnn": Entry(
            "polymodal.encoders.video_cnn:VideoCNN", "Convolutions over the picture, then over time", "Tran et al. 2018"
        ),
        "video_frames": Entry(
            "polymodal.encoders.video_frames:VideoFrames",
            "A residual network on each frame, attention over time",
            "He et al. 2016; Arnab et al. 2021",
        ),
        "video_plain": Entry(
            "polymodal.encoders.video_plain:VideoPlain",
            "Statistics of frames' gradients, colour and movement; nothing is trained",
            "Dalal & Triggs 2005; Bobick & Davis 2001",
        ),
        "volume_plain": Entry(
            "polymodal.encoders.volume_plain:VolumePlain",
            "Statistics of a scan's values, edges and views; nothing is trained",
            "Dalal & Triggs 2005; Wallis et al. 1989",
        ),
        "volume_resnet": Entry(
            "polymodal.encoders.volume:VolumeResNet", "Small residual network of 3-D convolutions", "He et al. 2016"
        ),
        "volume_slices": Entry(
            "polymodal.encoders.volume:VolumeSlices",
            "A residual network on each slice, attention along them",
            "He et al. 2016; Arnab et al. 2021",
        ),
        "points_pillars": Entry(
            "polymodal.encoders.points_pillars:PointsPillars",
            "Columns of points seen from above, then convolutions",
            "Lang et al. 2019",
        ),
        "points_plain": Entry(
            "polymodal.encoders.points_plain:PointsPlain",
            "Where points lie and how they extend; nothing is trained",
            "Weinmann et al. 2015",
        ),
        "points_shape": Entry(
            "polymodal.encoders.points_plain:PointsShape",
            "Histograms of distances and angles among points, too; nothing is trained",
            "Osada et al. 2002; Weinmann et al. 2015",
        ),
        "points_set": Entry(
            "polymodal.encoders.points_set:PointsSet",
            "Groups of neighbouring points, and groups of these",
            "Qi et al. 2017; Zhao et al. 2021",
        ),
        "series_gru": Entry("polymodal.encoders.series_gru:SeriesGRU", "Gated recurrent units", "Cho et al. 2014"),
        "series_patch": Entry("polymodal.encoders.series_patch:SeriesPatch", "Patch Transformer", "Nie et al. 2023"),
        "series_plain": Entry(
            "polymodal.encoders.series_plain:SeriesPlain",
            "Each channel's values in order; nothing is trained",
            "folklore",
        ),
        "series_rocket": Entry(
            "polymodal.encoders.series_rocket:SeriesRocket",
            "Statistics of channels and fixed convolutions; nothing is trained",
            "Dempster, Schmidt & Webb 2021",
        ),
        "series_tcn": Entry(
            "polymodal.encoders.series_tcn:SeriesTCN", "Dilated causal convolutions", "Bai, Kolter & Koltun 2018"
        ),
        "text_linear": Entry(
            "polymodal.encoders.text_linear:TextLinear",
            "Linear models of n-grams, fitted in one go",
            "Salton & Buckley 1988; Deerwester et al. 1990; Cox 1958",
        ),
        "text_tfidf": Entry(
            "polymodal.encoders.text_tfidf:TextTfidf",
            "Hashed bag of n-grams with learned vectors",
            "Weinberger 2009; Joulin 2017",
        ),
        "entity_plain": Entry(
            "polymodal.encoders.entity:EntityPlain",
            "A code of its own for each user or item, and its smoothed answers out of fold; nothing is trained",
            "Micci-Barreca 2001 (smoothed answers); Hoerl & Kennard 1970",
        ),
        "entity_embedding": Entry(
            "polymodal.encoders.entity:EntityEmbedding",
            "A learned vector for each user or item; one for those that are new",
            "Koren, Bell & Volinsky 2009; Guo & Berkhahn 2016",
        ),
        "table_mlp": Entry(
            "polymodal.encoders.table:TableMLP",
            "Perceptron over embedded columns",
            "Gorishniy, Rubachev & Babenko 2022",
        ),
        "text_bilstm": Entry(
            "polymodal.encoders.text:TextBiLSTM", "Bidirectional LSTM, attention pooling", "Graves & Schmidhuber 2005"
        ),
        "text_transformer": Entry(
            "polymodal.encoders.text:TextTransformer", "Convolution and Transformer blocks", "Vaswani et al. 2017"
        ),
        "table_ft": Entry(
            "polymodal.encoders.table:TableFT", "FT-Transformer: a token a column", "Gorishniy et al. 2021"
        ),
        "table_plain": Entry(
            "polymodal.encoders.table_plain:TablePlain",
            "Numbers, ranks and one-hot categories; nothing is trained",
            "folklore",
        ),
        "vector_mlp": Entry("polymodal.encoders.vector:VectorMLP", "Linear map plus perceptron", "folklore"),
        "vector_plain": Entry(
            "polymodal.encoders.vector:VectorPlain", "The vector as it is; nothing is trained", "folklore"
        ),
        "scored": Entry(
            "polymodal.encoders.scoring:Scored",
            "Another encoder's features, with the scores of learners",
            "Wolpert 1992",
        ),
        "beside": Entry("polymodal.encoders.beside:Beside", "Two encodings of a stream, side by side", "folklore"),
        "links_graph": Entry(
            "polymodal.encoders.links:LinksGraph",
            "A graph network over the row's neighbours",
            "Veličković et al. 2018; Hamilton, Ying, Leskovec 2017",
        ),
        "pretrained_text": Entry(
            "polymodal.encoders.pretrained:PretrainedText", "Hugging Face text tower", "Wolf et al. 2020", "hf"
        ),
        "pretrained_vision": Entry(
            "polymodal.encoders.pretrained:PretrainedVision", "Hugging Face picture tower", "Wolf et al. 2020", "hf"
        ),
        "pretrained_audio": Entry(
            "polymodal.encoders.pretrained:PretrainedAudio", "Hugging Face sound tower", "Wolf et al. 2020", "hf"
        ),
        "pretrained_video": Entry(
            "polymodal.encoders.pretrained_video:PretrainedVideo",
            "Hugging Face picture tower on each frame, or a film's tower",
            "Wolf et al. 2020",
            "hf",
        ),
        "pretrained_volume": Entry(
            "polymodal.encoders.volume:PretrainedVolume",
            "Hugging Face picture tower on each slice of a scan",
            "Wolf et al. 2020",
            "hf",
        ),
        "pretrained_series": Entry(
            "polymodal.encoders.pretrained_series:PretrainedSeries",
            "The encoder of the forecaster Chronos-Bolt",
            "Ansari et al. 2024",
            "hf",
        ),
    },
)
